DROP TABLE sender_opt_outs;
