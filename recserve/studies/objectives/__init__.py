"""What masks keep of earlier objectives, stage by stage, beside naive fine-tuning."""
